"""The Data Backbone: where every copy of every file lies, and whether it is there and whole.

`backbone.endpoints` knows the storage, `backbone.files` the files and their replicas on it,
`backbone.staging` how a file comes into being together with its row, and `backbone.audit` compares
database and storage both ways.
"""

from __future__ import annotations
