"""A plugin for ftx: BERT in NumPy alone, exported and served."""
