"""Train small image classifiers properly, and see what they got wrong.

Five wings, each importing only from those before it::

    runtime -> data -> models -> training -> analysis

``settings`` and ``commands`` stand outside and use them all; ``install`` needs none of them.
Importing the package itself loads nothing.
"""

import os

__version__ = "2.0.0"

# albumentations asks the network for its newest version when it is imported; a library that
# works offline must not wait for that answer.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
