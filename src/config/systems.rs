//! The systems whose pages the console has, with their names on the command line and in the settings.

use crate::dialects::console::sections::SECTIONS;
use crate::error::{Error, Result};

/// All systems, and no system.
const ALL: &str = "all";
const NONE: &str = "none";

/// Checks one name separately, so that an error can name its line.
pub fn name(text: &str) -> std::result::Result<String, String> {
    let known = || SECTIONS.iter().map(|section| section.system);
    match known().chain([ALL, NONE]).any(|name| name == text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no system with pages in the console; write {}, {ALL} or {NONE}",
            known().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The policies of systems with these names; `None` if the list is empty.
pub fn policies(names: &[String]) -> Result<Option<Vec<&'static str>>> {
    let alone = names.iter().any(|name| name == ALL || name == NONE);
    if alone && names.len() > 1 {
        return Err(Error::invalid_text(
            "systems",
            format!("{ALL} and {NONE} stand alone"),
        ));
    }
    let is_meant = |system: &str| names.iter().any(|name| name == ALL || name == system);
    let sections = SECTIONS.iter().filter(|section| is_meant(section.system));
    Ok((!names.is_empty()).then(|| sections.map(|section| section.policy).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Option<Vec<&'static str>> {
        let names: Vec<String> = text.split(',').map(|one| name(one).unwrap()).collect();
        policies(&names).unwrap()
    }

    #[test]
    fn systems_are_named_one_by_one_or_all_together() {
        assert_eq!(policies(&[]).unwrap(), None);
        assert_eq!(chosen("none"), Some(Vec::new()));
        assert_eq!(chosen("all").map(|all| all.len()), Some(SECTIONS.len()));
        assert_eq!(chosen("vspc,aware"), Some(vec!["aware", "vspc"]));
        assert_eq!(chosen("adverity"), Some(vec!["adverity-ui"]));
    }

    #[test]
    fn what_is_no_system_is_refused() {
        for bad in ["", "veeam", "Aware", "adverity-ui", "standard"] {
            assert!(name(bad).unwrap_err().contains("awaretrain"), "{bad}");
        }
        for both in [["all", "aware"], ["none", "aware"], ["none", "all"]] {
            assert!(policies(&both.map(str::to_owned)).is_err(), "{both:?}");
        }
    }
}
