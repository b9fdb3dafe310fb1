"""What a run did, as one page of HTML that opens offline, or as Markdown."""
