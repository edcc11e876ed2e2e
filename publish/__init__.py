"""What makes a release: the page on PyPI, the trial of a wheel, the documentation site."""
