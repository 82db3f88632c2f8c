//! Links of the pages lead somewhere when they are read in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ops::project;

/// A page without its blocks of code.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    text.split("```").step_by(2).collect()
}

/// What is shown for each link, and where it leads: `[shown](target)` and `[shown]: target`.
fn links(prose: &str) -> Vec<(&str, &str)> {
    let inline = prose.match_indices("](").map(|(at, _)| {
        let shown = &prose[prose[..at].rfind('[').unwrap() + 1..at];
        (shown, prose[at + 2..].split(')').next().unwrap())
    });
    let defined = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    inline.chain(defined).collect()
}

/// Whether a page has a heading with this anchor, as code hosts and rustdoc make it.
fn has_anchor(page: &Path, anchor: &str) -> bool {
    let anchor_of = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(page).lines().any(|line| {
        let heading = line.trim_start_matches('#');
        heading.len() < line.len() && anchor_of(heading.trim()) == anchor
    })
}

#[test]
fn links_of_the_pages_lead_somewhere_in_the_repository() {
    let mut pages: Vec<PathBuf> = ["README.md", "CHANGELOG.md", "SECURITY.md", "protocols/SPEC.md"]
        .map(|page| project(page).into())
        .into();
    let guide = fs::read_dir(project("src/guide")).unwrap();
    pages.extend(guide.map(|entry| entry.unwrap().path()));
    let mut relative = 0;
    for page in pages {
        let prose = prose(&page);
        for (shown, target) in links(&prose) {
            let is_of_the_guide = page.parent().unwrap().ends_with("guide");
            if target.starts_with("https://") {
                continue;
            }
            if target.starts_with("crate::") {
                // It leads nowhere in the repository, and reads as code there. `cargo doc` resolves it.
                let reads =
                    shown.starts_with('`') && shown.ends_with('`') && !target.starts_with("crate::guide");
                assert!(is_of_the_guide && reads, "{}: [{shown}]({target})", page.display());
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: [{shown}]({target})", page.display());
            assert!(
                anchor.is_empty() || has_anchor(&file, anchor),
                "{}: [{shown}]({target})",
                page.display()
            );
            relative += 1;
        }
    }
    assert!(relative > 50, "links are not found: {relative}");
}
