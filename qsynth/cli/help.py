"""What each verb is for.  Standard library only: help must start at once."""

from __future__ import annotations

HELP = """\
qsynth: nodes that learn from each other, peer to peer, with no coordinator

  run      train a fleet                     qsynth run +recipe=digits_mesh seed=1
  plan     what it will cost, what leaves    qsynth plan +recipe=cifar_mesh
  compare  measure what it is worth          qsynth compare +recipe=digits_mesh seeds=[0,1,2]
  report   a page of a run, or of several    qsynth report runs/NAME
  predict  answers to new data               qsynth predict runs/NAME/nodes/site-0 new.csv
  task     agree on what is learned          qsynth task init site.csv --label diagnosis
  node     be one node of a fleet            qsynth node up mesh=tcp mesh.join=[tcp://host:7700]
  recipe   list, check and share recipes     qsynth recipe list
  doctor   check what a node needs here      qsynth doctor mesh=tcp

More: new export serve watch part packet privacy explain config bench completion; see VERB --help.
Any setting can be overridden: qsynth run +recipe=cifar_mesh fleet.small.count=12 dht.ring_size=6
Options of most verbs: --json (data on standard output), --quiet, --trust package.Class (code that a
recipe may name).  Exit codes: 0 well, 1 the run failed, 2 usage or config, 3 an untrusted recipe
was refused, 4 network, 130 interrupted.
"""
# Verbs: where they are, and what they are for; standard library only.
VERBS = {
    "run": """\
qsynth run [+recipe=NAME] [key=value ...]: train a fleet, and say what it has gained

  qsynth run +recipe=digits_mesh seed=1
  qsynth run -m seed=0,1,2 peers.k=3,7 a run for each combination
  qsynth run --resume runs/NAME        go on with an interrupted run
                                       (--mine: made on another machine, but by you)
  qsynth run --locked runs/NAME        the same again (or a recipe.lock, or a pack), or not at all
  --json --quiet --trust package.Class
""",
    "plan": """\
qsynth plan [+recipe=NAME] [key=value ...]: what a run will cost, and what leaves each node

  qsynth plan +recipe=cifar_mesh fleet.small.count=12
  --measure   train each network for some steps: also of modules of your own
  --json --trust package.Class
""",
    "compare": """\
qsynth compare [+recipe=NAME] [arms=[...]] [seeds=[...]]: measure what a mesh is worth

  qsynth compare +recipe=digits_mesh arms=[local,alone,semantic,random] seeds=[0,1,2]
  --json --quiet --trust package.Class
""",
    "report": """\
qsynth report RUN [RUN ...]: make a run's summary and page again; several: side by side

  qsynth report runs/NAME
  --certificate   what each node gained on audit samples (partition.audit_share=.25), how surely
  --json --quiet
  --mine     the run is your own, from another machine or account
""",
    "new": """\
qsynth new FOLDER DATA --label COLUMN [data.KEY=VALUE ...]: a folder to begin with

  qsynth new mine site.csv --label diagnosis
Writes recipe.yaml with the task of the data, network.py, a test and a README; then it runs at once.
""",
    "predict": """\
qsynth predict PREDICTOR DATA [--out FILE.csv] [data.KEY=VALUE ...]: answers to new data

  qsynth predict runs/NAME/nodes/site-0 new.csv --out predictions.csv
  qsynth predict runs/NAME             of each node, to the test rows that it was measured on
  PREDICTOR   a predictor.pt, a node's folder, or a run with --node NAME
  DATA        a table with the columns of the training data, a folder of pictures, an .npz with x
  --label COLUMN   what the answer is called here; where it is told, accuracy is said
  --prior uniform  answer as if all classes were as frequent (default: own, the site's shares)
  --json --trust package.Class
""",
    "export": """\
qsynth export PREDICTOR [DATA] --onnx FILE | --torch FILE: one file that runs without qsynth

  qsynth export runs/NAME/nodes/site-0 new.csv --onnx predictor.onnx
  PREDICTOR   a predictor.pt, a node's folder, or a run with --node NAME
  DATA        rows that the file is checked on against the predictor; without: drawn ones
It holds encoder, network and head, takes features and gives probabilities or values; what they are
stands in it as JSON under `qsynth`.  --json --trust package.Class
""",
    "serve": """\
qsynth serve PREDICTOR [--host 127.0.0.1] [--port 8000] [--node NAME]: answers over HTTP, as JSON

  qsynth serve runs/NAME/nodes/site-0
  POST /predict   {"rows": [{"age": 61, "sex": "f"}]} of a table, {"inputs": [[...]]} of numbers
  GET /task       what it takes and answers      GET /healthz   whether it is well
It knows no passwords: beyond this host put it behind something that does.  --trust package.Class
""",
    "task": """\
qsynth task VERB: one task for sites that do not see each other's data

  init FILE --label COLUMN       propose it by a site's own table, folder of pictures or .npz
  merge A.yaml B.yaml ...        agree on one, and say what had to be decided
  check TASK.yaml FILE           whether a site's data fit
  init --help                    more of one of these
""",
    "node": """\
qsynth node VERB: be one node of a fleet, on this host

  qsynth node up --home DIR --share 0 mesh=tcp mesh.join=[tcp://host:7700]
  qsynth node id --home DIR            make the identity, and show it
  qsynth node keys VERB                certificates of a fleet's own authority
  qsynth node status --home DIR        what it knows of itself while it runs
  qsynth node withdraw --home DIR ...  take back what it has published; ... as for `up`
  qsynth node forget AUTHOR --home DIR never learn from it again, and undo what it brought
  qsynth node certificate --home DIR ...  what it has gained, on samples that served nothing else
  qsynth node up --help                more of one of these
""",
    "recipe": """\
qsynth recipe VERB: recipes are data, and can be sent, checked and trusted

  list                 all that are here, of installed packages and added ones too
  show NAME            as it is written
  validate FILE        0 well, 2 wrong, 3 not to be trusted; nothing is composed before the lint
  copy NAME [FILE]     to change it
  add SOURCE [--name]  a path, a pack, https://... or git+https://HOST/REPOSITORY[@REV]#PATH:
                       stored as data, shown, and pinned in qsynth.lock
  pack RUN|NAME        one file with recipe, lock and readme [--out FILE]
  lock [key=value ...] what a run would rest on, by hashes [--out FILE]
  diff A B             what two recipes set differently
  add --help           more of one of these
""",
    "watch": """\
qsynth watch [FOLDER]: see how far a run or a node on duty is; leaving does not end it

  qsynth watch                   the runs below runs/, and what has become of them
  qsynth watch runs/NAME         one of them
  qsynth watch nodes/SITE        the home of a node that `node up` has started
  qsynth watch runs/NAME --web   as a page that goes on by itself, on this machine alone
  --json     a line of JSON for every change
  --port N   of the page; a free one otherwise
""",
    "explain": """\
qsynth explain WORD: what a setting, a group, an option, a reason of refusal or an exit code means

  qsynth explain exit
  qsynth explain dht.ring_size
  qsynth explain peers
  qsynth explain partition=rotations
""",
    "completion": """\
qsynth completion bash|zsh: words that a shell can complete

  source <(qsynth completion bash)
""",
    "packet": """\
qsynth packet VERB: what leaves a node, and what has left it

  audit [+recipe=NAME] [key=value ...]   attack one's own packets, before others do
  show [+recipe=NAME] [--share N]        what a node would publish; --home DIR: what it asks about
  approve --home DIR                     consent to it (publish=ask)
  log --home DIR                         each packet that has left, and to which key: checked
""",
    "privacy": """\
qsynth privacy report [+recipe=NAME] [key=value ...]: what leaves, and under which guarantee

  qsynth privacy report +recipe=digits_mesh privacy=dp synthesis.teach.inputs=own_mix
  --home DIR   of a node that was on duty: what it has spent, and sent
  --out FILE   the page, privacy.html by default
Its figures are those of attacks on the packets, or sums, of this configuration.
""",
    "config": """\
qsynth config [+recipe=NAME] [key=value ...]: show the composed config

  qsynth config +recipe=cifar_mesh
""",
    "part": """\
qsynth part RUN NODE [NODE ...]: hold some nodes of a run on this machine

  qsynth part runs/NAME mlp-0 mlp-1
What placement=slurm and placement=ray start; any other scheduler can as well.  The run's folder
must be at the same path on every machine; nodes that were killed go on from it.
  --mine     the run is your own, from another machine or account
  --mortal   end when the process that has started this one ends
""",
    "doctor": """\
qsynth doctor [key=value ...]: check ports, clock, files, certificates and data on this host

  qsynth doctor --home DIR mesh=tcp mesh.listen=tcp://0.0.0.0:7700
  --warm   compile the kernels first, so that nothing waits for it later
""",
    "bench": """\
qsynth bench route|kernels|lookup|mesh|learner: measure routing, kernels, mesh and learners

  qsynth bench route --nodes 1000,10000 --strategy rings,exact --dead 0,0.3
  qsynth bench learner --nodes 128 --steps 200 --model mlp
""",
}
# Verbs of verbs, by both their names.
SUBVERBS = {
    "task init": """\
qsynth task init FILE --label COLUMN[,COLUMN] [--out task.yaml] [--title NAME] [data.KEY=VALUE ...]

  qsynth task init site.csv --label diagnosis data.leave_out=[patient] data.kinds.ward=category
Writes a recipe: columns, levels that 5 rows or more have, mean and spread of each column, labels.
No row is in it; look at it before you send it to others.
""",
    "task merge": """\
qsynth task merge A.yaml B.yaml ... [--out task.yaml] [--title NAME]: one task of several proposals
""",
    "task check": """\
qsynth task check TASK.yaml FILE [data.KEY=VALUE ...]: whether a site's data fit; 0 if they do

  qsynth task check task.yaml site.csv data.label_map.krank=ill data.label=diagnose
""",
    "node up": """\
qsynth node up [--home DIR] [--share N] [+recipe=NAME] [key=value ...]: be one node of a fleet

  qsynth node up --home DIR +recipe=natural data.path=site.npz mesh=tcp mesh.join=[tcp://host:7700]
  --home DIR   identity, memory, model and packets; the same again goes on (default: node)
  --share N    whose data of the recipe's fleet it has, from 0 (default: 0)
  mesh.listen mesh.advertise mesh.join mesh.tls mesh.dial_only   qsynth explain each
  publish=auto|ask|never   whether packets leave
  log.format=keyvalue|json log.file=FILE   its lines for what gathers logs; rotated
It trains, then goes on learning until SIGINT or SIGTERM.
""",
    "node id": """\
qsynth node id [--home DIR]: make the identity, if there is none, and show it
""",
    "node keys": """\
qsynth node keys VERB ...: certificates of a fleet's own authority, for tls+tcp://

  qsynth node keys init --authority DIR
On a node's host, whose key stays there, and where the authority is:
  qsynth node keys request --home DIR --host NAME[,NAME] [--out DIR]
  qsynth node keys sign --authority DIR --request FILE [--id ID] [--days 365] --out DIR
Key and certificate at once, to be carried to the node:
  qsynth node keys issue --authority DIR --id ID --host NAME[,NAME] [--days 365] --out DIR
For a node whose certificate another authority has issued:
  qsynth node keys vouch --authority DIR --certificate FILE --root FILE --out DIR
  qsynth node keys revoke --authority DIR --id ID
A new key of the authority, and the end of the one before:
  qsynth node keys rotate --authority DIR
  qsynth node keys retire --authority DIR [--anyway yes]
--home DIR in the place of --id names the identity that lies there.  What is copied to a running
node's mesh.tls is taken up within ten seconds.
""",
    "node status": """\
qsynth node status [--home DIR] [--json]: what a node that runs on this machine knows of itself
""",
    "node withdraw": """\
qsynth node withdraw --home DIR ...: take back what the node has published; ... as for `up`

Holders obey and confirm; the node must not be running.
""",
    "node forget": """\
qsynth node forget AUTHOR --home DIR: never learn from an author again, and undo what it brought

AUTHOR: its id, or the first digits of it.  The node must not be running.
""",
    "node certificate": """\
qsynth node certificate --home DIR [--share N] ...: what the node has gained; ... as for `up`

Trains once more without peers, and asks both predictors for audit samples that served nothing else
(partition.audit_share=.25).  Writes certificate.json and certificate.html beside its predictor.
--json
""",
    "recipe list": "qsynth recipe list [--json]: all that are here, shipped, installed and added\n",
    "recipe show": "qsynth recipe show NAME|FILE: a recipe as it is written\n",
    "recipe validate": """\
qsynth recipe validate FILE [--trust package.Class]: 0 well, 2 wrong, 3 not to be trusted
""",
    "recipe copy": "qsynth recipe copy NAME [FILE]: a recipe of one's own, to change\n",
    "recipe add": """\
qsynth recipe add SOURCE [--name NAME] [--trust package.Class]: keep a recipe, pinned by its hash

  qsynth recipe add mine.qpack
  qsynth recipe add https://example.org/mine.yaml
  qsynth recipe add git+https://example.org/recipes.git@v1#mine.yaml
Data alone is stored: nothing in it runs.  --trust lets it be stored though it names code; it is to
be given again to each verb that runs it.
""",
    "recipe pack": """\
qsynth recipe pack RUN|NAME|FILE [--out FILE.qpack]: one file with recipe, lock and readme
""",
    "recipe lock": """\
qsynth recipe lock [key=value ...] [--out FILE]: what a run would rest on, by hashes
""",
    "recipe diff": "qsynth recipe diff A B [--json]: what two recipes set differently\n",
    "packet audit": """\
qsynth packet audit [+recipe=NAME] [key=value ...]: attack one's own packets, before others do

Vouchers, inversion and difference attacks on what a node would publish.
""",
    "packet show": """\
qsynth packet show [+recipe=NAME] [--share N]: what a node would publish, array by array
qsynth packet show --home DIR: the packet that waits for consent (publish=ask)
""",
    "packet approve": "qsynth packet approve --home DIR: consent to the packet that waits\n",
    "packet log": """\
qsynth packet log --home DIR: each packet that has left, and to which key; its hash chain is checked
""",
}


def told(verb: str, rest: list[str]) -> str:
    """Return what a verb has to say of itself, or of its verb that the first word names."""
    inner = SUBVERBS.get(f"{verb} {rest[0]}") if rest else None
    return inner or VERBS[verb]
