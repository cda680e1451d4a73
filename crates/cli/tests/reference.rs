//! The reference pages say what the code says.

use std::path::Path;

#[test]
fn the_reference_is_what_the_code_declares() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference");
    for page in tidemill_cli::reference::pages().unwrap() {
        let kept = std::fs::read_to_string(folder.join(page.file)).unwrap_or_default();
        let line = kept.lines().zip(page.text.lines()).find(|(kept, made)| kept != made);
        assert!(kept == page.text, "{} differs from the code ({line:?}): run `make docs`", page.file);
    }
}
