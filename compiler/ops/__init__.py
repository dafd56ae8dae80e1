"""The operators, one file each: see ``dnncc.ops.base`` for what such a file holds."""
