//! Which notices a sink gets: those of chosen kinds and workspaces.

use super::Kind;
use crate::domain::uid::Uid;

/// The filter of one sink.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// `None` for every kind.
    pub kinds: Option<Vec<Kind>>,
    /// Slugs or uids of workspaces; each stands for everything below it too. Empty for the whole server.
    pub workspaces: Vec<String>,
}

impl Filter {
    /// Whether the sink gets a notice of this kind. `path` has the workspace of the notice and all those above it, each
    /// as uid and slug; it is empty for a notice of the whole server, which a filter by workspace leaves out.
    pub fn admits(&self, kind: Kind, path: &[(Uid, String)]) -> bool {
        let of_kind = self
            .kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind));
        let named = |(uid, slug): &(Uid, String)| {
            let mut names = self.workspaces.iter();
            names.any(|name| name == slug || Uid::parse(name) == Some(*uid))
        };
        of_kind && (self.workspaces.is_empty() || path.iter().any(named))
    }
}

/// The kinds that a word of a setting stands for: one, all whose words begin alike (`key.*`), or no kind (`none`).
pub fn kinds_of(word: &str) -> Option<Vec<Kind>> {
    if word == "none" {
        return Some(Vec::new());
    }
    let Some(start) = word.strip_suffix('*') else {
        return Kind::parse(word).map(|kind| vec![kind]);
    };
    let found: Vec<Kind> = Kind::all()
        .filter(|kind| start.ends_with('.') && kind.as_str().starts_with(start))
        .collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_admits_what_it_names() {
        let (root, emea) = (Uid(1), Uid(2));
        let path = [(emea, "emea".to_owned()), (root, "root".to_owned())];
        let filter = |kinds: &[Kind], workspaces: &[&str]| Filter {
            kinds: (!kinds.is_empty()).then(|| kinds.to_vec()),
            workspaces: workspaces.iter().map(|name| (*name).to_owned()).collect(),
        };
        let all = Filter::default();
        assert!(all.admits(Kind::DiskLow, &[]) && all.admits(Kind::KeyExpired, &path));
        assert!(!filter(&[Kind::DiskLow], &[]).admits(Kind::KeyExpired, &path));
        for name in ["emea", "root", &emea.to_string(), &root.to_string()] {
            assert!(
                filter(&[], &[name]).admits(Kind::KeyExpired, &path),
                "{name}"
            );
            assert!(!filter(&[], &[name]).admits(Kind::DiskLow, &[]), "{name}");
        }
        assert!(!filter(&[], &["apac"]).admits(Kind::KeyExpired, &path));
    }

    #[test]
    fn a_word_stands_for_a_kind_or_for_several() {
        assert_eq!(kinds_of("disk.low"), Some(vec![Kind::DiskLow]));
        assert_eq!(kinds_of("none"), Some(Vec::new()));
        let keys = kinds_of("key.*").unwrap_or_default();
        assert!(keys.contains(&Kind::KeyExpired) && !keys.contains(&Kind::DiskLow));
        for bad in ["", "*", "key", "key*", "x.*", "key.lost"] {
            assert_eq!(kinds_of(bad), None, "{bad}");
        }
    }
}
