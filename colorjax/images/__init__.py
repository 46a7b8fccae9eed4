"""People's image files."""

import os

# Read when libvips is first imported: it prints no remarks on unusual but readable files.
os.environ.setdefault("VIPS_WARNING", "1")
