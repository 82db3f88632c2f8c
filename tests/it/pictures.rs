//! Pictures that commands draw, read again.

use std::fs;
use std::path::Path;

use crate::{Folder, Run, swarm};

fn bundled(name: &str) -> String {
    format!("{}/examples/data/us_equity/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn heat_map(input: &str, picture: &str, more: &[&str]) -> Run {
    swarm(&[&["correlate", "--input", input, "--heatmap", picture], more].concat())
}

#[track_caller]
fn succeeds(run: &Run) {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

/// What is written in an SVG, in the order of the file, and its size.
fn texts(svg: &str) -> (Vec<String>, [f64; 2]) {
    let source = fs::read_to_string(svg).unwrap();
    let document = roxmltree::Document::parse(&source).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
    let texts =
        document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    let content = texts.map(|node| node.text().unwrap_or_default().to_owned()).collect();
    (content, ["width", "height"].map(|side| root.attribute(side).unwrap().parse().unwrap()))
}

/// The places of the labels of rows, of which each stands for the first time.
fn order(texts: &[String], labels: &[&str]) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for text in texts.iter().filter(|text| labels.contains(&text.as_str())) {
        if !seen.contains(text) {
            seen.push(text.clone());
        }
    }
    seen
}

/// Two groups of two that take turns, and one series that never changes.
const GROUPS: &str = ",a1,b1,a2,b2,flat\nu,1,5,1,5,7\nv,2,1,2,1,7\nw,3,4,3,4,7\nx,9,2,8,2,7\n";

#[test]
fn a_heat_map_shows_labels_values_and_what_is_undefined() {
    let folder = Folder::new("heat_map");
    let (input, picture) = (folder.write("groups.csv", GROUPS), folder.path("map.svg"));
    succeeds(&heat_map(&input, &picture, &["--order", "input"]));
    let (texts, _) = texts(&picture);
    let labels = ["a1", "b1", "a2", "b2", "flat"];
    assert_eq!(order(&texts, &labels), labels);
    assert_eq!(texts.iter().filter(|text| *text == "b2").count(), 2, "a row and a column");
    for wanted in ["Pearson correlation", "5 series, 4 rows", "−0.41", "−1.0", "0.5", "undefined"] {
        assert!(texts.iter().any(|text| text == wanted), "{wanted} is missing in {texts:?}");
    }
    assert_eq!(
        texts.iter().filter(|text| *text == "1.00").count(),
        4 + 4,
        "the diagonal, and within the groups"
    );
}

#[test]
fn clusters_stand_together_in_the_picture_and_not_in_the_data() {
    let folder = Folder::new("heat_map_order");
    let (input, picture) = (folder.write("groups.csv", GROUPS), folder.path("map.SVG"));
    let run = heat_map(&input, &picture, &["-o", "json"]);
    assert_eq!(run.json()["labels"], serde_json::json!(["a1", "b1", "a2", "b2", "flat"]));
    let found = order(&texts(&picture).0, &["a1", "b1", "a2", "b2"]);
    let groups: Vec<&str> = found.iter().map(|label| &label[..1]).collect();
    assert!(groups == ["a", "a", "b", "b"] || groups == ["b", "b", "a", "a"], "{found:?}");
}

#[test]
fn a_png_has_two_pixels_for_a_unit_and_the_colours_of_the_values() {
    let folder = Folder::new("heat_map_png");
    let input = bundled("daily_returns.csv");
    let (svg, png) = (folder.path("map.svg"), folder.path("map.png"));
    succeeds(&heat_map(&input, &svg, &[]));
    succeeds(&heat_map(&input, &png, &[]));
    let pixels = tiny_skia::Pixmap::load_png(&png).unwrap();
    assert_eq!([pixels.width(), pixels.height()].map(f64::from), texts(&svg).1.map(|side| 2.0 * side));
    let colours = |wanted: &dyn Fn(u8, u8, u8) -> bool| {
        pixels.pixels().iter().filter(|p| wanted(p.red(), p.green(), p.blue())).count()
    };
    // Nine cells of the diagonal in the darkest red, no cell blue, and the ink of letters.
    assert!(colours(&|r, g, b| r > 140 && g < 40 && b < 40) > 9 * 80 * 80);
    assert!(colours(&|r, _, b| r < 60 && b > 150) < 30 * 160, "blue is in the colour bar only");
    assert!(colours(&|r, g, b| r < 60 && g < 60 && b < 70) > 1000);
}

#[test]
fn hostile_labels_make_no_broken_picture() {
    let folder = Folder::new("heat_map_labels");
    let long = "w".repeat(3000);
    let labels = ["</text><script>", "a&b]]>", "\"\"\"'\"", "\u{1b}[31m\u{fffe}", "漢字 ~ \u{202e}x", &long];
    let input = folder.write("table.csv", format!("{}\n1,2,3,4,5,6\n2,1,2,1,2,2\n", labels.join(",")));
    for picture in ["map.svg", "map.png"] {
        assert_eq!(heat_map(&input, &folder.path(picture), &[]).code, Some(0));
    }
    let (texts, [width, _]) = texts(&folder.path("map.svg"));
    assert!(texts.contains(&"</text><script>".to_owned()) && texts.contains(&"a&b]]>".to_owned()));
    assert!(!texts.iter().any(|text| text.contains(['\u{202e}', '\u{1b}', '\u{fffe}'])));
    assert!(width < 1000.0, "{width}");
    assert!(tiny_skia::Pixmap::load_png(folder.path("map.png")).is_ok());
}

#[test]
fn pictures_are_of_every_size_up_to_a_number_of_series() {
    let folder = Folder::new("heat_map_sizes");
    let table = |series: usize| {
        let row =
            |value: &dyn Fn(usize) -> String| (0..series).map(value).collect::<Vec<_>>().join(",") + "\n";
        let rows: String = (0..6).map(|r| row(&|s| ((s * s * r + s + r * r) % 17).to_string())).collect();
        folder.write(&format!("{series}.csv"), row(&|s| format!("series {s}")) + &rows)
    };
    for series in [2, 40, 130, 300] {
        let picture = folder.path("map.svg");
        succeeds(&heat_map(&table(series), &picture, &["--method", "spearman"]));
        let (texts, [width, height]) = texts(&picture);
        assert!(width < 1800.0 && height < 1600.0);
        let labels = texts.iter().filter(|text| text.starts_with("series ")).count();
        assert!(labels > series.min(100), "{labels} labels of {series}");
    }
    heat_map(&table(1001), &folder.path("large.svg"), &[]).fails(65, &["1001 series", "1000"]);
    assert!(!Path::new(&folder.path("large.svg")).exists());
}

#[test]
fn a_picture_that_cannot_be_written_is_refused_before_the_work() {
    let folder = Folder::new("heat_map_refused");
    let absent = folder.path("absent.csv");
    for picture in ["map.pdf", "map", "svg", ".svg"] {
        heat_map(&absent, &folder.path(picture), &[]).fails(2, &["--heatmap", ".svg or .png"]);
    }
    heat_map(&absent, &folder.path("no/where.svg"), &[]).fails(1, &["where.svg"]);
    fs::create_dir(folder.path("folder.svg")).unwrap();
    heat_map(&absent, &folder.path("folder.svg"), &[]).fails(1, &["folder.svg"]);
    heat_map(&absent, &folder.path("a.svg"), &["--rolling", "5"]).fails(2, &["--rolling"]);
    swarm(&["correlate", "--input", &absent, "--order", "input"]).fails(2, &["--heatmap"]);
}

#[cfg(unix)]
#[test]
fn a_picture_never_replaces_an_input() {
    let folder = Folder::new("picture_of_itself");
    let (table, link) = (folder.write("table.svg", GROUPS), folder.path("link.png"));
    std::os::unix::fs::symlink(&table, &link).unwrap();
    let other = bundled("daily_returns.csv");
    let rest = ["--column", "x", "--query-column", "x", "--query-start", "0", "--query-length", "2"];
    for picture in [&table, &link] {
        let refused = "which is an input";
        heat_map(&table, picture, &[]).fails(2, &[picture, refused]);
        for files in [[&table, &other], [&other, &table]] {
            let search = [
                "match", "search", "--series", files[0], "--query", files[1], "--window", "0", "--plot",
                picture,
            ];
            swarm(&[&search[..], &rest].concat()).fails(2, &[picture, refused]);
        }
    }
    assert_eq!(fs::read_to_string(&table).unwrap(), GROUPS);
}

#[test]
fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
    let folder = Folder::new("heat_map_replaced");
    let input = folder.write("groups.csv", GROUPS);
    let picture = folder.write("map.svg", "the former one");
    let bad = folder.write("bad.csv", "a,b\n1,x\n");
    heat_map(&bad, &picture, &[]).fails(65, &["bad.csv:2:3"]);
    assert_eq!(fs::read_to_string(&picture).unwrap(), "the former one");
    succeeds(&heat_map(&input, &picture, &[]));
    assert_eq!(texts(&picture).0[0], "Pearson correlation");
    let mut names: Vec<_> =
        fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bad.csv", "groups.csv", "map.svg"]);
}

#[cfg(unix)]
#[test]
fn f11_a_picture_goes_through_links_and_over_nothing_but_a_file() {
    let folder = Folder::new("heat_map_links");
    let input = folder.write("groups.csv", GROUPS);
    let (first, second, target) =
        (folder.path("first.svg"), folder.path("second.svg"), folder.path("real.svg"));
    std::os::unix::fs::symlink("second.svg", &first).unwrap();
    std::os::unix::fs::symlink(&target, &second).unwrap();
    for _ in 0..2 {
        // At first the links lead to no file yet.
        succeeds(&heat_map(&input, &first, &[]));
        assert!(
            fs::symlink_metadata(&first).unwrap().is_symlink()
                && fs::symlink_metadata(&second).unwrap().is_symlink()
        );
        assert_eq!(texts(&target).0[0], "Pearson correlation");
    }
    let device = folder.path("device.svg");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    heat_map(&input, &device, &[]).fails(1, &[&device, "it is no regular file"]);
}

#[test]
fn matches_are_drawn_with_their_rows_and_distances() {
    let folder = Folder::new("matches");
    let input = bundled("spy_daily.csv.gz");
    let search = |picture: &str, top: &str| {
        let files = ["match", "search", "--series", &input, "--column", "close", "--query", &input];
        let query =
            ["--query-column", "close", "--query-start", "5000", "--query-length", "40", "--window", "2"];
        swarm(&[&files[..], &query, &["--top", top, "--plot", picture, "-o", "json"]].concat())
    };
    let (svg, png) = (folder.path("matches.svg"), folder.path("matches.png"));
    let found = search(&svg, "3").json();
    let (texts, size) = texts(&svg);
    for found in found["matches"].as_array().unwrap() {
        let row = found["start"].as_u64().unwrap();
        let distance = found["distance_squared"].as_f64().unwrap().sqrt();
        let caption = format!("row {row}, distance {distance:.3}");
        assert!(texts.contains(&caption), "{caption} is missing in {texts:?}");
    }
    for wanted in ["query", "1", "2", "3", "Windows of close like rows 5000 to 5039 of close"] {
        assert!(texts.iter().any(|text| text == wanted), "{wanted} is missing in {texts:?}");
    }
    search(&png, "3").json();
    let pixels = tiny_skia::Pixmap::load_png(&png).unwrap();
    assert_eq!([pixels.width(), pixels.height()].map(f64::from), size.map(|side| (2.0 * side).ceil()));

    search(&svg, "30").json();
    assert!(self::texts(&svg).0.iter().any(|text| text.contains("6 more matches")));
    search(&folder.path("matches.gif"), "1").fails(2, &["--plot", ".svg or .png"]);
}

#[test]
fn a_search_without_matches_is_drawn_too() {
    let folder = Folder::new("matches_none");
    let input = folder.write("flat.csv", format!("x\n{}", "3\n".repeat(20)));
    let picture = folder.path("none.svg");
    let files =
        ["match", "search", "--series", &input, "--column", "x", "--query", &input, "--query-column", "x"];
    let query =
        ["--query-start", "0", "--query-length", "20", "--window", "2", "--plot", &picture, "-o", "json"];
    assert_eq!(swarm(&[&files[..], &query].concat()).json()["matches"], serde_json::json!([]));
    assert!(texts(&picture).0.len() > 3);
}

#[test]
fn f13_letters_that_a_png_cannot_show_are_said() {
    let folder = Folder::new("heat_map_letters");
    let input = folder.write("letters.csv", ",\u{8336},\u{9152}\nu,1,5\nv,2,1\nw,3,4\n");
    let (png, svg) = (folder.path("map.png"), folder.path("map.svg"));
    let run = heat_map(&input, &png, &[]);
    let said =
        format!("swarm: note: {png} has boxes for letters such as \u{8336}: a picture in .svg has them\n");
    assert_eq!((run.code, run.stderr), (Some(0), said));
    succeeds(&heat_map(&input, &svg, &[]));
}
