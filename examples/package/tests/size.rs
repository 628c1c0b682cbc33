//! How much of a protocol deals with the server. The README and the guide say that it is little.

use std::fs;
use std::path::Path;

/// Lines of code, without comments and empty lines.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.map(ToOwned::to_owned).collect()
}

#[test]
fn at_most_60_lines_of_a_protocol_touch_acceptd() {
    for example in ["mail_drop", "job_queue"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(example);
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let all = files.map(|path| (path.file_name().unwrap().to_owned(), code(&path)));
        let touching: Vec<_> = all.filter(|(_, code)| code.iter().any(|line| line.contains("acceptd"))).collect();
        let names: Vec<_> = touching.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["handler.rs"], "{example}");
        let count: usize = touching.iter().map(|(_, code)| code.len()).sum();
        println!("{example}: {count} lines touch acceptd");
        assert!(count <= 60, "{example}: {count} lines");
    }
}
