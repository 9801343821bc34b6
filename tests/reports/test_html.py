"""HTML that is built: whatever text is in it, a parser reads the same text back, and no other elements."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from starcli.reports.html import element, number, together


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], {}, ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        self.text += data


PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@given(PLAIN | st.sampled_from(["</b><script>x()</script>", "\" onload='x()'", "&lt;", "<!--", "]]>"]))
def test_text_and_attributes_come_back_as_they_are(text):
    reader = Reader()
    reader.feed(together("", element("b", text, title=text)))
    reader.close()
    assert reader.tags == ["b"]
    assert reader.text == text
    assert reader.attributes == {"title": text}


def test_what_no_page_may_hold_is_replaced():
    made = element("b", "a\x00\x1b[31m\udc80")
    assert "\x00" not in made
    assert "\x1b" not in made
    assert made.encode("utf-8")


@given(st.floats(-1e6, 1e6))
def test_coordinates_are_short_and_near(value):
    assert abs(float(number(value)) - value) <= 5.1e-5
    assert len(number(value)) <= 13
