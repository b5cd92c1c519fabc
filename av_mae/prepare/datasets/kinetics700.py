"""Kinetics-700: train.csv, val.csv (validate.csv) and pieces of YouTube videos; 700 human actions.

The lists of 2019 and of 2020 have the same form; `test=true` adds the test list. `whole=false` says
that files named by the id alone are the clips themselves and not the whole video.
"""

import functools

from av_mae.prepare.lists import kinetics

clips = functools.partial(kinetics.clips, 700, {})
