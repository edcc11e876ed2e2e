"""The report as one page: a file that needs no network, for readers who are no experts too."""
