"""Kinetics-400: train.csv, val.csv (validate.csv) and pieces of YouTube videos; 400 human actions.

`test=true` adds the test list. `whole=false` says that files named by the id alone are the
clips themselves and not the whole video.
"""

import functools

from av_mae.prepare.lists import kinetics

clips = functools.partial(kinetics.clips, 400, {"train": 246_534, "val": 19_906, "test": 39_805})
