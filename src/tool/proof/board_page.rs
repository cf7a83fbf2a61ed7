//! The board as one page that needs nothing else: no script, nothing that is fetched, readable in light and dark, on a phone,
//! on paper and by a screen reader. maud escapes every text.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use charon_files::cluster::{Gwei, StakingToken};
use charon_proof::board::{Board, Cell, Deposits, Mark, OperatorRow, Terms, Verdict};

/// How a page of ours begins, so that no other file is ever replaced by one.
pub(crate) const BEGINNING: &str =
    "<!DOCTYPE html><html lang=\"en\" data-made-by=\"charon-dkg board\">";

/// Nothing is loaded and nothing runs, whatever a text from a chat might say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #565d66; --page: #ffffff; --card: #f4f5f7; --line: #c9ced5;
  --good: #116329; --good-page: #dcf5e3; --open: #7a4d00; --open-page: #fdf0d2; --bad: #a40e26; --bad-page: #fde3e6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a4abb4; --page: #15181c; --card: #1f2429; --line: #3b424a;
  --good: #7ee2a0; --good-page: #12351f; --open: #f2c66d; --open-page: #3a2b0a; --bad: #ff9aa5; --bad-page: #43141b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: var(--page); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.15rem; margin: 0 0 .6rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
.verdict { padding: .7rem .9rem; border-radius: .4rem; border-left: .4rem solid; margin: 0; }
.verdict strong { display: block; font-size: 1.5rem; line-height: 1.25; }
.good { color: var(--good); } .open { color: var(--open); } .bad { color: var(--bad); }
.verdict.good { background: var(--good-page); } .verdict.open { background: var(--open-page); } .verdict.bad { background: var(--bad-page); }
th, .mark { overflow-wrap: normal; } .hash, .detail { overflow-wrap: anywhere; }
code, .hash { font-family: ui-monospace, monospace; font-size: .88em; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; } tbody th { font-weight: 600; }
.terms th { width: 11rem; color: var(--soft); }
.mark { font-weight: 700; } .detail { display: block; color: var(--soft); font-size: .88rem; }
footer { margin-top: 1.6rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 40rem) {
  .operators thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .operators tr { display: block; padding: .5rem 0; border-top: 1px solid var(--line); }
  .operators th, .operators td { display: block; border: 0; padding: .1rem 0; }
  .operators td::before { content: attr(data-label) ': '; color: var(--soft); }
  .terms th { width: auto; padding-right: .8rem; }
}
@media print {
  @page { size: A4; margin: 12mm; }
  :root { color-scheme: light; --ink: #000; --soft: #333; --page: #fff; --line: #999; --good: #063; --open: #630; --bad: #900;
    --good-page: #fff; --open-page: #fff; --bad-page: #fff; }
  body { padding: 0; max-width: none; font-size: 8.5pt; line-height: 1.25; } h2 { margin: .7rem 0 .2rem; }
  th, td { padding: .12rem .4rem .12rem 0; } tr { break-inside: avoid; } .detail { font-size: 7.5pt; }
}
";

/// The page.
pub(crate) fn page(board: &Board) -> String {
    let name = match board.terms.name.as_str() {
        "" => "unnamed cluster",
        name => name,
    };
    let body = html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="no-referrer";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            link rel="icon" href="data:,";
            title { (board.verdict.text()) " – " (name) }
            style { (PreEscaped(STYLE)) }
        }
        body {
            main {
                h1 { (name) }
                p class={ "verdict " (class_of(board.verdict)) } id="verdict" role="status" {
                    strong { (board.verdict.text()) }
                    (board.summary)
                }
                (operators(&board.operators))
                (terms(&board.terms))
                @if let Some(found) = &board.deposits { (deposits(found, board.terms.token)) }
            }
            footer {
                "Drawn " time datetime=(board.drawn) { (board.drawn) }
                " by " code { "docker charon-dkg board" }
                ". It shows what signed lines and checked files said then; it is no proof by itself; anyone with the same files and lines can draw it again."
            }
        }
    };
    // The beginning is written out so that it is always the same.
    let whole = html! { (DOCTYPE) (body) "\n" }.into_string();
    let rest = whole.strip_prefix("<!DOCTYPE html>").unwrap_or(&whole);
    format!("{BEGINNING}{}</html>\n", rest.trim_end())
}

const fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ready | Verdict::Confirmed => "good",
        Verdict::NotReady | Verdict::ReceiptsMissing => "open",
        Verdict::Stop => "bad",
    }
}

/// Roles are spelled out, since browsers forget those of tables that are laid out as blocks on a phone.
fn operators(rows: &[OperatorRow]) -> Markup {
    html! {
        h2 id="operators" { "Operators" }
        table class="operators" role="table" aria-labelledby="operators" {
            thead role="rowgroup" {
                tr role="row" {
                    @for title in ["Operator", "Ready line", "Receipt", "Send them"] {
                        th scope="col" role="columnheader" { (title) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        th scope="row" role="rowheader" {
                            "Operator " (row.operator)
                            @if !row.address.is_empty() { span class="detail hash" { (row.address) } }
                        }
                        (cell("Ready line", &row.ready))
                        (cell("Receipt", &row.receipt))
                        td role="cell" data-label="Send them" { (with_code(&row.say)) }
                    }
                }
            }
        }
    }
}

fn cell(label: &str, cell: &Cell) -> Markup {
    let (class, sign) = match cell.mark {
        Mark::Good => ("good", "✓"),
        Mark::Open => ("open", "○"),
        Mark::Bad => ("bad", "✗"),
    };
    html! {
        td role="cell" data-label=(label) {
            span class={ "mark " (class) } { span aria-hidden="true" { (sign) " " } (cell.text) }
            @if !cell.detail.is_empty() { span class="detail" { (cell.detail) } }
        }
    }
}

/// A text whose commands are between backticks.
fn with_code(text: &str) -> Markup {
    html! {
        @for (position, part) in text.split('`').enumerate() {
            @if position % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn terms(terms: &Terms) -> Markup {
    let amounts = terms
        .amounts()
        .unwrap_or_else(|| "charon's default".to_owned());
    let rows = [
        ("Network", terms.network.clone()),
        (
            "Operators",
            format!("{}, of whom {} sign", terms.operators, terms.threshold),
        ),
        ("Validators", terms.validators.to_string()),
        ("Stake goes to", terms.withdrawal_addresses.join(", ")),
        ("Fees go to", terms.fee_recipient_addresses.join(", ")),
        ("Deposits of each", amounts),
        (
            "Definition",
            format!("{} ({})", terms.definition_hash, terms.definition_version),
        ),
        (
            "Cluster lock",
            terms
                .lock_hash
                .clone()
                .unwrap_or_else(|| "none yet".to_owned()),
        ),
    ];
    html! {
        h2 id="terms" { "Terms" }
        table class="terms" aria-labelledby="terms" {
            tbody {
                @for (title, value) in rows {
                    tr { th scope="row" { (title) } td class="hash" { (value) } }
                }
            }
        }
    }
}

fn deposits(deposits: &Deposits, token: StakingToken) -> Markup {
    let amount = |gwei: u64| token.amount(Gwei(gwei)).to_string();
    html! {
        h2 id="deposits" { "Deposits, proved against the lock" }
        table aria-labelledby="deposits" {
            thead { tr { th scope="col" { "Amount" } th scope="col" { "How many" } th scope="col" { "Together" } } }
            tbody {
                @for row in &deposits.amounts {
                    tr { th scope="row" { (amount(row.amount_gwei)) } td { (row.count) } td { (amount(row.total_gwei)) } }
                }
                tr { th scope="row" { "All files" } td { (deposits.count) } td { (amount(deposits.total_gwei)) } }
            }
        }
    }
}
