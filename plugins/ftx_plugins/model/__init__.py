"""The stage `model`: where the pretrained encoder comes from, if it is not a folder already."""
