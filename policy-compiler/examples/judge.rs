//! Answers for the oracles under `scripts/oracles`: a line `detector<TAB>key<TAB>text` in, `1` out if the detector takes the whole text, `0` if it
//! takes none or a part, `?` if there is no such detector. Escapes `\n`, `\t`, `\\` in the text.

use policy_compiler::detect;
use std::io::{BufRead, Write};

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.splitn(3, '\t');
        let (Some(detector), Some(key), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
            writeln!(out, "?")?;
            continue;
        };
        let text = text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\");
        let found =
            if key.is_empty() { detect::find(detector, &text) } else { detect::find_in_member(detector, key, &text) };
        let answer = match found {
            None => "?",
            Some(found) if found.iter().any(|finding| finding.range == (0..text.len())) => "1",
            Some(_) => "0",
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()
}
