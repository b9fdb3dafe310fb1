"""The stage `data`: labelled files become cleaned, de-duplicated splits with a report."""
