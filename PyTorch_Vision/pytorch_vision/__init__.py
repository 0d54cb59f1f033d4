"""Train small image classifiers properly, and see what they got wrong.

One flat module for each station on the data's way, each importing only from those before it::

    sources -> data -> transforms -> loaders -> train -> predict -> gradcam -> plots -> report

``models``, ``summary`` and ``pretrained`` stand beside them. Importing the package itself loads
none of them.
"""

import os

# albumentations asks the network for its newest version when it is imported; a library that
# works offline must not wait for that answer.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
