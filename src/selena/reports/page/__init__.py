"""The report as one HTML page that needs no network, also for readers who are not experts."""
