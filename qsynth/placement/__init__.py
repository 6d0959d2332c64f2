"""Where nodes run.  A placement starts nodes and watches; it is not on the data's path."""
