"""What a person looks at: terminal, Markdown, LaTeX, JUnit, figures and the HTML page."""
