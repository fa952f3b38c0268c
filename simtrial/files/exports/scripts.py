"""Scripts that analyse exported results with rsimsum in R and with siman in Stata."""

from __future__ import annotations

from collections.abc import Iterable

from simtrial.files.exports.results import Exported

SEPARATORS = "~!;@%&"
"""What rsimsum may put between levels; no level may hold it."""

R_READ = {
    "csv": 'x <- read.csv("{file}", na.strings = "", stringsAsFactors = FALSE)',
    "dta": 'x <- haven::read_dta("{file}")\n'
           'words <- vapply(x, function(v) !is.null(attr(v, "labels")), logical(1))\n'
           "x[words & names(x) %in% c(\"target\", \"method\", \"status\")] <-\n"
           '  lapply(x[words & names(x) %in% c("target", "method", "status")], '
           "function(v) as.character(haven::as_factor(v)))\n"
           "x <- as.data.frame(lapply(x, function(v) if (is.numeric(v)) as.numeric(v) else v))\n"
           "x$lci[x$lci < -8e307] <- -Inf  # Stata has no infinity\n"
           "x$uci[x$uci > 8e307] <- Inf",
    "parquet": 'x <- as.data.frame(nanoparquet::read_parquet("{file}"))',
}  # fmt: skip

R_SCRIPT = """\
# Performance by rsimsum of the results in {file}. Run it in this folder: Rscript analyse.R
# install.packages("rsimsum")
# Differences from `simtrial summarise --mcse normal` are explained by rsimsum's definitions: relative bias is a
# proportion, power is by the normal distribution, and the error of a simulated true value is not added.
library(rsimsum)

{read}
x$target[is.na(x$target)] <- ""  # no estimand was named
x$dgm <- factor(x$dgm)

found <- list()
for (target in unique(x$target)) {{
  part <- x[x$target == target, ]
  part$method <- factor(part$method, levels = unique(part$method))
  known <- !all(is.na(part$true))
  s <- simsum(
    data = part, estvarname = "estimate", se = "se", true = if (known) "true" else NULL,
    methodvar = "method", ref = levels(part$method)[1], by = "dgm", ci.limits = c("lci", "uci"),
    x = TRUE, control = list(char.sep = "{separator}")
  )
  cat("\\nEstimand:", target, "\\n")
  print(summary(s))
  found[[length(found) + 1]] <- cbind(target = target, get_data(summary(s)))
}}
write.csv(do.call(rbind, found), "rsimsum.csv", row.names = FALSE)

# Plots: autoplot(s, type = "zip"); autoplot(summary(s), type = "lolly", stats = "cover")
"""

STATA_READ = {
    "csv": 'import delimited using "{file}", clear varnames(1) case(preserve) asdouble bindquote(strict)\n'
           "foreach v in lci uci {{\n"
           "    capture confirm string variable `v'\n"
           "    if !_rc {{\n"
           '        replace `v\' = "8.9e307" if `v\' == "Inf"\n'
           '        replace `v\' = "-8.9e307" if `v\' == "-Inf"\n'
           "        destring `v', replace\n"
           "    }}\n"
           "}}",
    "dta": 'use "{file}", clear',
}  # fmt: skip

STATA_SCRIPT = """\
* Performance by siman of the results in {file}. Run it in this folder: do analyse.do
* net install siman, from a site that siman's help names
version 15
{read}
* failed fits are missing: siman counts them as bsims below the number of replicates
keep rep dgm {target}method {columns}
siman setup, rep(rep) dgm(dgm) {setup}method(method) {options}
siman analyse
siman table
* siman zipplot
* siman lollyplot
{factors}"""


def r_script(found: Exported, file: str) -> str:
    """R script for rsimsum."""
    read = R_READ[file.rpartition(".")[2]].format(file=file)
    words = [word for name in ("method", "target") for word in found.levels[name]]
    return R_SCRIPT.format(file=file, read=read, separator=_separator(words))


def _separator(words: Iterable[str]) -> str:
    text = "".join(words)
    return next((mark for mark in SEPARATORS if mark not in text), SEPARATORS[0])


def stata_script(found: Exported, file: str) -> str:
    """Stata script for siman; columns without any value are left out, for it takes none that are not used."""
    frame = found.frame
    names = [name for name in ("estimate", "se", "lci", "uci", "p") if frame[name].count()]
    names += ["true"] if not frame["true"].null_count() else []
    options = " ".join(f"{name}({name})" for name in names)
    named = any(found.levels["target"])
    levels = [f"{name}_level" for name in found.sources]
    factors = (
        "* The factors of dgm as labelled integers, as siman wants them in dgm(): " + " ".join(levels) + "\n"
        if levels
        else ""
    )
    read = STATA_READ[file.rpartition(".")[2]].format(file=file)
    return STATA_SCRIPT.format(
        file=file, read=read, target="target " if named else "", setup="target(target) " if named else "",
        columns=" ".join(names), options=options, factors=factors,
    )  # fmt: skip
