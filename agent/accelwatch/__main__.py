"""`python -m accelwatch`."""

from accelwatch.cli import main

raise SystemExit(main())
