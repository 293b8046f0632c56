//! A writer of the XML that AWS answers.

/// Elements written so far.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: String,
}

impl Writer {
    /// Opens an element; `namespace` is left out when empty.
    pub(super) fn open_in(&mut self, name: &str, namespace: &str) {
        self.out.push('<');
        self.out.push_str(name);
        if !namespace.is_empty() {
            self.out.push_str(" xmlns=\"");
            self.escape(namespace);
            self.out.push('"');
        }
        self.out.push('>');
    }

    /// Opens an element.
    pub(super) fn open(&mut self, name: &str) {
        self.open_in(name, "");
    }

    /// Closes it.
    pub(super) fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element that holds text.
    pub(super) fn leaf(&mut self, name: &str, text: &str) {
        self.open(name);
        self.escape(text);
        self.close(name);
    }

    /// The declaration of a document.
    pub(super) fn declaration(&mut self) {
        self.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    }

    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    /// Characters that XML 1.0 cannot hold at all become the replacement character; a carriage return, which a parser
    /// would turn into a line feed, is written by number.
    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\r' => self.out.push_str("&#xD;"),
                '\t' | '\n' => self.out.push(c),
                '\u{0}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => self.out.push('\u{FFFD}'),
                _ => self.out.push(c),
            }
        }
    }
}
