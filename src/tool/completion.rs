//! How a command line may go on, as docker's shell completion asks it.
//!
//! docker's completion scripts call `docker __complete charondkg WORD…`, and docker (v23 and later)
//! hands that on to the plugin as it is (docker/cli `cli-plugins/manager/cobra.go`). The answer is
//! cobra's: one candidate a line, a tab before its description, and at the end a colon and a number
//! that tells the shell what else to offer (spf13/cobra `completions.go`, `ShellCompDirective`).

use std::ffi::OsString;

use clap::{Arg, Command, ValueHint};

use crate::cli;

/// Offer nothing else (`ShellCompDirectiveNoFileComp`).
const NOTHING_ELSE: u8 = 4;
/// Offer files (`ShellCompDirectiveDefault`).
const FILES: u8 = 0;
/// Offer directories (`ShellCompDirectiveFilterDirs`).
const DIRECTORIES: u8 = 16;

/// The answer, if a command line is docker asking for completion.
pub(crate) fn answer(argv: &[OsString]) -> Option<String> {
    let [_, request, words @ ..] = argv else {
        return None;
    };
    let described = match request.to_str() {
        Some("__complete") => true,
        Some("__completeNoDesc") => false,
        Some(_) | None => return None,
    };
    let words: Vec<&str> = words
        .iter()
        .map(|word| word.to_str().unwrap_or_default())
        .collect();
    let words = match words.split_first() {
        Some((&cli::PLUGIN_NAME, rest)) => rest,
        Some(_) | None => &words,
    };
    let (last, before) = words.split_last().unwrap_or((&"", &[]));
    let mut root = cli::command();
    root.build();
    let (candidates, directive) = candidates(&root, before, last);
    let mut text = String::new();
    for (value, description) in candidates {
        text.push_str(&value);
        if described && !description.is_empty() {
            text.push_str(&format!("\t{description}"));
        }
        text.push('\n');
    }
    text.push_str(&format!(":{directive}\n"));
    Some(text)
}

type Candidates = Vec<(String, String)>;

fn candidates(root: &Command, before: &[&str], last: &str) -> (Candidates, u8) {
    let mut verb = root;
    let mut awaiting: Option<&Arg> = None;
    for word in before {
        if awaiting.take().is_some() {
            continue;
        }
        // What follows is charon's.
        if *word == "--" {
            return (Vec::new(), NOTHING_ELSE);
        }
        if let Some(name) = word.strip_prefix("--") {
            awaiting = verb
                .get_arguments()
                .find(|arg| arg.get_long() == Some(name) && takes_value(arg));
        } else if let Some(inner) = verb.find_subcommand(word) {
            verb = inner;
        }
    }
    if let Some(flag) = awaiting {
        return values(flag, last);
    }
    if last.starts_with('-') {
        return (flags(verb, last), NOTHING_ELSE);
    }
    let verbs = verb
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set() && inner.get_name().starts_with(last))
        .map(|inner| (inner.get_name().to_owned(), about(inner.get_about())))
        .collect();
    let directive = verb
        .get_positionals()
        .next()
        .map_or(NOTHING_ELSE, elsewhere);
    (verbs, directive)
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn flags(verb: &Command, prefix: &str) -> Candidates {
    verb.get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), about(arg.get_help()))))
        .filter(|(flag, _)| flag.starts_with(prefix))
        .collect()
}

fn values(flag: &Arg, prefix: &str) -> (Candidates, u8) {
    let known = flag
        .get_possible_values()
        .iter()
        .filter(|value| value.get_name().starts_with(prefix))
        .map(|value| (value.get_name().to_owned(), about(value.get_help())))
        .collect();
    (known, elsewhere(flag))
}

fn elsewhere(arg: &Arg) -> u8 {
    let hint = arg.get_value_hint();
    if hint == ValueHint::FilePath {
        FILES
    } else if hint == ValueHint::DirPath {
        DIRECTORIES
    } else {
        NOTHING_ELSE
    }
}

/// A description in one line: a line end would start another candidate.
fn about(help: Option<&clap::builder::StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(words: &[&str]) -> Vec<String> {
        let argv: Vec<OsString> = ["/x/docker-charondkg", "__completeNoDesc", "charondkg"]
            .iter()
            .chain(words)
            .map(OsString::from)
            .collect();
        answer(&argv).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn verbs_flags_and_values_are_offered_where_they_fit() {
        assert_eq!(ask(&["a"]), ["archive", ":4"]);
        assert_eq!(ask(&["--dir", "x", "st"]), ["status", ":4"]);
        assert_eq!(ask(&["enr", ""]), ["show", ":4"]);
        assert_eq!(ask(&["run", "--all"]), ["--allow-prerelease", ":4"]);
        assert_eq!(ask(&["run", "--format", "j"]), ["json", ":4"]);
        assert_eq!(ask(&["status", "--pro"]), ["--progress", ":4"]);
    }

    #[test]
    fn the_shell_offers_files_where_files_are_named() {
        assert_eq!(ask(&["run", "--definition", ""]), [":0"]);
        assert_eq!(ask(&["verify", ""]), [":16"]);
        assert_eq!(ask(&["verify", "--dir", ""]), [":16"]);
        assert_eq!(ask(&["run", "--relay", ""]), [":4"]);
        assert_eq!(ask(&["run", "--", "--ti"]), [":4"]);
        assert_eq!(ask(&["backup", "--passphrase-file", ""]), [":0"]);
        assert_eq!(ask(&["backup", "res"]), ["restore", ":0"]);
        assert_eq!(ask(&["backup", "restore", ""]), [":0"]);
        assert_eq!(ask(&["repair", "--ow"]), ["--owner", ":4"]);
    }

    #[test]
    fn hidden_verbs_stay_hidden() {
        let verbs = ask(&[""]);
        assert!(verbs.contains(&"run".to_owned()), "{verbs:?}");
        assert!(!verbs.contains(&"internal-probe".to_owned()), "{verbs:?}");
    }

    #[test]
    fn only_a_request_is_answered() {
        for argv in [&["charon-dkg"][..], &["charon-dkg", "run", "__complete"]] {
            let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
            assert_eq!(answer(&argv), None);
        }
        let bare = [OsString::from("charon-dkg"), OsString::from("__complete")];
        assert!(answer(&bare).unwrap().contains("run\tRun the ceremony"));
    }
}
