"""The passes: pure functions from a described graph to one frozen result each. They know no op type, and not
one another.
"""
