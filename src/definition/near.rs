//! "Did you mean": the known word nearest to a mistyped one.

/// The nearest of `known` as a question, where one is near enough to be meant.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean {near:?}?"))
}

/// As [`did_you_mean`], else the list of all that is known.
pub(super) fn did_you_mean_or_list(word: &str, known: &[&str]) -> Option<String> {
    did_you_mean(word, known.iter().copied()).or_else(|| {
        let list: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
        (!list.is_empty()).then(|| format!("one of {}", list.join(", ")))
    })
}

/// A longer word was not mistyped, and among more words than this the wanted one is looked up: the distance of all
/// pairs would take longer than anyone waits.
const LETTERS: usize = 64;
const WORDS: usize = 500;

fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LETTERS {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .filter(|known| known.len() <= LETTERS)
        .take(WORDS)
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= 1 + word.len().min(known.len()) / 4)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_and_a_far_one_is_not() {
        let known = ["event_time", "max_ahead", "dedupe"];
        assert_eq!(
            did_you_mean("evnet_time", known).as_deref(),
            Some("did you mean \"event_time\"?")
        );
        assert_eq!(
            did_you_mean("Dedupe", known).as_deref(),
            Some("did you mean \"dedupe\"?")
        );
        assert_eq!(did_you_mean("lookup", known), None);
    }

    #[test]
    fn without_a_near_word_all_are_listed() {
        let known = ["kafka", "files"];
        assert_eq!(
            did_you_mean_or_list("http", &known).as_deref(),
            Some("one of \"kafka\", \"files\"")
        );
        assert_eq!(
            did_you_mean_or_list("kafak", &known).as_deref(),
            Some("did you mean \"kafka\"?")
        );
    }
}
