//! Expressions whose value, or whose own text, could be of any size.
//!
//! `repeat(x, n)` makes a value as long as a number says. Where that number comes from an event, a producer decides how
//! much memory silver needs, and the same record would stop it again after every restart. So the number must be written
//! in the expression and be small.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::Fault;

/// Longest text of an expression, in bytes.
const TEXT: usize = 8 * 1024;

/// Most operators of an expression. `a + b + c` is a level deeper for each of them; DataFusion reads and judges an
/// expression by recursion, in a time that grows with the square of its depth.
const OPERATORS: usize = 400;

/// Deepest brackets of an expression. The SQL parser tries what is in brackets in two ways, and where it is wrong, all of
/// it in two ways again for each bracket around it: a slip 24 brackets deep takes minutes, and each further one doubles
/// that.
const DEPTH: usize = 10;

/// Operators that are words.
const WORDS: [&str; 15] = [
    "and", "or", "not", "xor", "is", "in", "like", "ilike", "rlike", "regexp", "similar", "between", "div", "collate",
    "at",
];

/// Largest product of all sizes in one expression: they multiply where one call is inside another.
const SIZES: u64 = 4096;

/// Functions with a size among their arguments, and where.
const SIZED: [(&str, usize); 5] = [
    ("repeat", 1),
    ("lpad", 1),
    ("rpad", 1),
    ("array_repeat", 1),
    ("array_resize", 1),
];

/// Functions that make a list as long as numbers say, and have no use in a row.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// What is wrong with an expression's text before it is read.
pub(super) fn too_long(sql: &str) -> Option<Fault> {
    if sql.len() > TEXT {
        return Some(Fault::new(format!(
            "has {} bytes, more than the {TEXT} that are read",
            sql.len()
        )));
    }
    let operators = operators(sql);
    if operators > OPERATORS {
        let fault = Fault::new(format!("has {operators} operators, and may have {OPERATORS}"));
        return Some(fault.suggest("split it, or use in (...)"));
    }
    let depth = depth(sql);
    (depth > DEPTH).then(|| {
        Fault::new(format!("has brackets in brackets, {depth} deep, and may have {DEPTH}"))
            .suggest("split it, or leave out brackets that change nothing")
    })
}

/// How many brackets are open where most are. Text that has no tokens has none: the parser does not get to read it.
fn depth(sql: &str) -> usize {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default();
    let (mut open, mut deepest) = (0_usize, 0);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// No fewer operators than there are: signs and words, also those in quotes and comments.
fn operators(sql: &str) -> usize {
    let sign = |letter: &char| letter.is_ascii_punctuation() && !"_,.()\"'".contains(*letter);
    let words = sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let words = words.filter(|word| WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)));
    sql.chars().filter(sign).count() + words.count()
}

/// What is wrong with the sizes in an expression.
pub(super) fn unbounded(expr: &Expr) -> Option<Fault> {
    let mut product: u64 = 1;
    let mut found = None;
    // The walk cannot fail: the closure never does.
    let _ = expr.apply(|node| {
        if let Expr::ScalarFunction(call) = node {
            let name = call.name();
            let place = SIZED.iter().find(|(sized, _)| *sized == name).map(|(_, place)| *place);
            if SERIES.contains(&name) {
                found = Some(Fault::new(format!("{name}() makes a list of any length")));
            } else if let Some(place) = place {
                match call.args.get(place).map(literal) {
                    Some(Some(size)) => product = product.saturating_mul(size.max(1)),
                    _ => {
                        found = Some(
                            Fault::new(format!("{name}() must be told the size as a plain number"))
                                .suggest("a size from an event could be larger than the memory"),
                        );
                    }
                }
            }
        }
        if product > SIZES {
            found = Some(Fault::new(format!(
                "makes values that are {product} times as long, and may {SIZES} times"
            )));
        }
        Ok(if found.is_some() {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}

fn literal(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => u64::try_from(*number).ok(),
        _ => None,
    }
}
