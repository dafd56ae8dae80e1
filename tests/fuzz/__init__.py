"""Random valid networks over all operators, and damaged model files: ``python -m fuzz`` in this folder's parent."""
