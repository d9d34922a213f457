"""What is shown in the end: tables and marks for people, as text or Markdown; a document for programs.

`figures` says what there is to show and takes the medians; `marks` compares taskq with the best of the others; `tables` lays both out,
once for a terminal and once as Markdown; `document` is everything.
"""

from __future__ import annotations
