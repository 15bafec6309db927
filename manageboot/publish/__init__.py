"""Makes, signs and checks releases, where images are built; a node never imports it.

`build` makes the files of a release, `root` and `sign` the metadata of TUF that tells nodes which releases there are.
"""
