"""The verbs that change what boots next, and what may keep them from it."""
