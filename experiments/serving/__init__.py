"""An ensemble that answers over HTTP: scores or photos in, labels out."""
