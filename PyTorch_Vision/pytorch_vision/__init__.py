"""Train small image classifiers properly, and see what they got wrong.

Seven wings, each importing only from those before it::

    runtime -> data -> models -> training -> explain -> analysis -> app

``install`` needs none of them. Importing the package itself loads nothing.
"""

import os
import warnings

__version__ = "2.0.0"

# without this, albumentations asks the network for its newest version when it is imported
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

# with gradio or timm installed, albumentations imports a tqdm that asks notebooks for widgets
warnings.filterwarnings("ignore", "IProgress not found")
