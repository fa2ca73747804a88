# SPDX-License-Identifier: Apache-2.0
"""The axes of the matrix."""
BREAKS = ("truncate", "punch", "collapse", "insert", "write-direct", "write", "read", "open-truncate", "sync", "freeze", "revoke",
          "unlink", "rename-over")
SHORT = ("trunc", "punch", "coll", "ins", "dio", "write", "read", "O_TR", "sync", "frz", "rev", "unl", "ren")
BACKINGS = ("direct", "odp", "odp-cooperative", "bounce")
