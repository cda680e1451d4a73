//! Tables, and text that is shown as it is.

use std::fmt::Write as _;

/// A table. Cells are Markdown.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(N));
    for row in rows {
        // Writing to a String cannot fail.
        writeln!(text, "| {} |", row.map(|cell| one_line(&cell)).join(" | ")).ok();
    }
    text
}

/// A code span; nothing where there is no text.
pub(super) fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// Prose of a doc comment: what looks like HTML is none, except in code.
pub(super) fn prose(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_code = false;
    for c in text.chars() {
        match c {
            '`' => {
                in_code = !in_code;
                shown.push(c);
            }
            '<' if !in_code => shown.push_str("&lt;"),
            _ => shown.push(c),
        }
    }
    shown
}

fn one_line(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_breaks_no_table_and_holds_no_html() {
        let text = table(["a"], [[prose("x | <b>\n`<c>`")]]);
        assert_eq!(text, "| a |\n|---|\n| x \\| &lt;b> `<c>` |\n");
    }
}
