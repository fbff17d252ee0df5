"""Count what the architecture is judged by: lines, loose files, import circles and arrows between rooms.

    python tests/structure.py [ROOT]

Code lines are lines that are neither blank, comment nor docstring. A room is a folder of a package, or a file that lies
loose in the package's root; an arrow is an import from one room of a package to another, those inside functions and for
the type checker alone included.
"""

import ast
import sys
import tokenize
from pathlib import Path

PACKAGES = ("optimizers", "stacking", "base_models", "experiments", "labelstack")


def count_lines(path):
    """Return the lines of code, of docstrings, and of whole-line comments of a file."""
    with tokenize.open(path) as file:
        text = file.read()
    documented = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                documented |= set(range(node.lineno, node.end_lineno + 1))
    code = comments = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and number not in documented:
            comments += line.lstrip().startswith("#")
            code += not line.lstrip().startswith("#")
    return code, len(documented), comments


def imported(path):
    """Yield the modules that a file imports, inside functions as well."""
    waiting = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        waiting += ast.iter_child_nodes(node)


def arrows(root, package):
    """Return which modules of a package import which others."""
    files = {".".join(path.relative_to(root).with_suffix("").parts): path for path in (root / package).rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    return {
        name: {other for other in imported(path) if other in modules and other != name and not _holds(other, name)}
        for name, path in modules.items()
    }


def _holds(package, module):
    """Tell whether a package is one that a module lies in: importing from it asks for a sibling, not for the whole."""
    return module.startswith(f"{package}.")


def circles(graph):
    """Return the groups of modules that import each other (strongly connected, by Tarjan's algorithm)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def rooms(graph):
    """Return the imports between the rooms of a package, its own front door aside."""
    pairs = {(_room(name), _room(other)) for name, others in graph.items() for other in others}
    return {(source, target) for source, target in pairs if source != target and "" not in (source, target)}


def _room(module):
    """Return the folder or loose file, next to the package's root, that a module lies in."""
    return module.partition(".")[2].partition(".")[0]


def main():
    """Print one line for each package, and their sum."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    sys.setrecursionlimit(10_000)
    total = [0, 0, 0]
    titles = ("code", "docs", "comments", "loose", "rooms", "arrows", "circles")
    print(f"{'package':12}", *(f"{title:>8}" for title in titles))
    for package in (name for name in PACKAGES if (root / name).is_dir()):
        counts = [count_lines(path) for path in (root / package).rglob("*.py")]
        code, docs, comments = map(sum, zip(*counts, strict=True))
        total = [total[0] + code, total[1] + docs, total[2] + comments]
        graph = arrows(root, package)
        loose = sum(path.name != "__init__.py" for path in (root / package).glob("*.py"))
        n_rooms = len({_room(name) for name in graph} - {""})
        found = circles(graph)
        numbers = (code, docs, comments, loose, n_rooms, len(rooms(graph)), len(found))
        print(f"{package:12}", *(f"{number:8}" for number in numbers))
        for group in found:
            print("   circle:", ", ".join(group))
    print(f"{'all':12}", *(f"{number:8}" for number in total))


if __name__ == "__main__":
    main()
