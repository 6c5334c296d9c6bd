"""Measurements of rifle-ext, in trainings of the toolkits."""

from rifle_ext.runtime.compat import before_paddle

before_paddle()
