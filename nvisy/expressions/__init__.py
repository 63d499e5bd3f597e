"""The expression language of `filter`, `map` and `branch` steps and of search filters.

It is the Common Expression Language (CEL, https://cel.dev) over the fields of one primitive:

    metadata.lang == 'en' && !key.endsWith('.tmp')
    'Page ' + string(metadata.page) + ': ' + text
    coalesce(metadata.title, key)
    size(text) > 200 ? 'long' : 'short'

What people trip over:

- Text and numbers do not mix: `string(n)` makes text of a number, `int(s)` and `double(s)` go the other way.
  An int field and a literal with a point do not compare either: `size(text) > 2` or `double(n) > 2.5`.
- A metadata field that is missing is an error of that record, which then goes to the dead letters. Ask first,
  `has(metadata.lang) && metadata.lang == 'en'`, or give a default, `coalesce(metadata.lang, 'en')`: the first
  argument that is neither missing nor null; the last one is taken as it is.
- A metadata field whose name is no identifier is written `metadata['x-y']`; `'x-y' in metadata` asks for it.
- `matches` takes an RE2 pattern and finds it anywhere in the text: anchor it with `^` and `$`.
- There are no loops but `all`, `exists`, `exists_one`, `filter` and `map` over a list, and the number of
  their rounds in one evaluation is bounded.

Functions on strings: `contains`, `startsWith`, `endsWith`, `matches`, `size`, `lowerAscii`, `upperAscii`,
`trim`, `replace`, `split`, `join`, `substring`, `indexOf`, `lastIndexOf`, `charAt`, `reverse`, `format`.

`compile` checks names and types before any record flows and gives an `Expression`; search filters, a smaller
language that every store can answer, are in `nvisy.expressions.filter`.
"""

from nvisy.expressions.expression import Expression, compile  # noqa: A004 - `re.compile` reads the same way
from nvisy.expressions.fields import FieldType

__all__ = ["Expression", "FieldType", "compile"]
