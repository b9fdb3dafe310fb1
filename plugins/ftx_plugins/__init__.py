"""The built-in steps, one folder a stage. The core names them by import string only."""
