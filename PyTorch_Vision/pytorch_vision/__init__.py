"""Train small image classifiers properly, and see what they got wrong.

Four wings in the order of the data's way, each importing only from those before it::

    data -> models -> training -> analysis

``settings`` and ``commands`` stand outside and use them all; ``install`` needs none of them.
Importing the package itself loads nothing.
"""

import os

# albumentations asks the network for its newest version when it is imported; a library that
# works offline must not wait for that answer.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
