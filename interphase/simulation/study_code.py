"""Which code of a run.py a measurement depends on: what its function can reach."""

import ast


def code_behind(source: bytes, name: str) -> str:
    r"""Return the code of a module that one of its functions can reach, without its comments.

    Parameters
    ----------
    source
        The module.
    name
        The function.

    >>> source = b"a = 1\nb = 2  # seconds\ndef f(): return b\ndef g(): return a"
    >>> print(code_behind(source, "f"))
    b = 2
    def f():
        return b
    """
    statements = ast.parse(source).body
    reached: set[int] = set()
    names = {name, "*"}  # what a star brings may be any name
    # What one statement names, another defines, until nothing new is named.
    while True:
        new = {
            number
            for number, statement in enumerate(statements)
            if number not in reached and (names & _defined(statement))
        }
        if not new:
            return "\n".join(ast.unparse(statements[number]) for number in sorted(reached))
        reached |= new
        names = names.union(*(_named(statements[number]) for number in new))


_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines or may change."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    names = _named(statement)
    # An import names one or many; in a block there may be definitions of every kind.
    for node in ast.walk(statement):
        if isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, _DEFINITIONS | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            names.add(node.name or "")
    return names


def _named(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
