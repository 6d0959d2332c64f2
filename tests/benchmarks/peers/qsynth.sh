# What was typed for qsynth, in the folder that holds clinics/ and new.csv; RUN is the run's folder.
# 1
qsynth run data=table data.path=clinics data.label=diagnosis
# 2
qsynth run data=table data.path=clinics data.label=diagnosis fleet.site.count=0 model@fleet.logreg.model=linear +fleet.logreg.count=1 model@fleet.small.model=mlp +fleet.small.count=1 fleet.small.model.width=16 model@fleet.large.model=mlp +fleet.large.count=1 fleet.large.model.width=128 model@fleet.deep.model=mlp +fleet.deep.count=1 fleet.deep.model.depth=4
# 3
qsynth predict RUN new.csv --node Aachen --out predictions.csv
# 4, with mine.py beside it
qsynth run data=table data.path=clinics data.label=diagnosis model@fleet.site.model=module fleet.site.model.target=mine.Module
# 5: the lines with SITE once for each site, PORT 7701 to 7704
qsynth task init clinics/SITE.csv --label diagnosis data.leave_out=[patient] --out SITE.yaml
qsynth task merge aachen.yaml bonn.yaml celle.yaml demmin.yaml --out task.yaml
qsynth node keys init --authority authority
qsynth node id --home home-SITE
qsynth node keys issue --authority authority --id ID --host 127.0.0.1 --out tls-SITE
qsynth node up --home home-SITE +recipe=task.yaml data.path=clinics/SITE.csv mesh=tcp mesh.listen=tls+tcp://127.0.0.1:PORT mesh.join=[tls+tcp://127.0.0.1:7701,tls+tcp://127.0.0.1:7702] mesh.tls=tls-SITE
# 6: the last line again, for the site that was killed (trainer.max_steps=6000, so that there is a middle)
