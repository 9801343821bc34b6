"""One self-contained HTML page of checkpoints and saved results.

page.py          the page; begin here. findings.py: what it is made of; checked_rows.py: saved results among it
*_section        a section, *_sections several alike; section.py: what they share, tables.py: tables that sort
summary.py       the main numbers; best_models.py, sentences.py: what they say
made_by.py       how each file was made; rebuilt_line.py: by which line
lineage.py       ancestors; lineage_graph.py: drawn
curve_chart.py, heat_map.py, plane_map.py, strip_chart.py, reliability_chart.py     drawings, of the parts in drawing.py
html.py          elements whose text is escaped
"""
