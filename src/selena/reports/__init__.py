"""Reports for people: terminal, Markdown, LaTeX, JUnit, figures and the HTML page."""
