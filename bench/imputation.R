# Imputation in R, timed on request: reads "NAME COUNT" lines, answers the mean milliseconds of COUNT calls of NAME.
# Rscript --vanilla imputation.R TRIALS.csv    (columns of `simtrial generate`, several trials by trial_id)
Sys.setenv(OMP_NUM_THREADS = "1", OPENBLAS_NUM_THREADS = "1")
suppressPackageStartupMessages({
  library(lme4)
  library(mitml)
  library(pan)
  library(jomo)
})
all <- read.csv(commandArgs(trailingOnly = TRUE)[1], stringsAsFactors = TRUE)
trials <- lapply(split(all, all$trial_id), function(d) droplevels(d[order(d$practice), ]))
imputations <- 20
complete <- ~ arm + mansa_baseline + region + practice_size
columns <- function(d, model = complete) model.matrix(model, d)
practices <- function(d) as.integer(factor(d$practice))

# a chain of its own burn-in, then `between` sweeps from one imputation to the next
by_pan <- function(d, between) {
  x <- columns(d)
  prior <- list(a = 1, Binv = 1, c = 1, Dinv = 1)
  chain <- pan(d$mansa_followup, practices(d), x, seq_len(ncol(x)), 1, prior, seed = 1, iter = 1000)
  values <- list(chain$y)
  for (k in 2:imputations) {
    chain <- pan(d$mansa_followup, practices(d), x, seq_len(ncol(x)), 1, prior, seed = k, iter = between, start = chain$last)
    values[[k]] <- chain$y
  }
  values
}
by_jomo <- function(d, burn = 1000, between = 1000, outcomes = "mansa_followup") {
  x <- columns(d, if (length(outcomes) > 1) update(complete, ~ . - mansa_baseline) else complete)
  made <- jomo1rancon(Y = d[outcomes], X = as.data.frame(x), clus = practices(d), nburn = burn, nbetween = between,
                      nimp = imputations, output = 0)
  lapply(seq_len(imputations), function(k) made$mansa_followup[made$Imputation == k])
}
analysed <- function(d, values) {
  fits <- lapply(values, function(y) {
    d$mansa_followup <- as.numeric(y)
    lmer(mansa_followup ~ arm + mansa_baseline + region + practice_size + (1 | practice), d)
  })
  testEstimates(fits)
}
two <- c("mansa_baseline", "mansa_followup")
peers <- list(
  "pan and lmer" = function(d) analysed(d, by_pan(d, 100)),
  "jomo and lmer" = function(d) analysed(d, by_jomo(d)),
  # 500 sweeps in all, however they are shared out
  "joint" = function(d) by_jomo(d, burn = 120, between = 20, outcomes = two)
)
turn <- 0
invisible(suppressMessages(suppressWarnings(peers[["joint"]](trials[[1]]))))
cat("ready\n")
flush(stdout())
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  words <- strsplit(line, ":")[[1]]
  times <- vapply(seq_len(as.integer(words[2])), function(i) {
    turn <<- turn %% length(trials) + 1
    begun <- proc.time()[["elapsed"]]
    suppressMessages(suppressWarnings(peers[[words[1]]](trials[[turn]])))
    proc.time()[["elapsed"]] - begun
  }, 0)
  cat(1000 * mean(times), "\n")
  flush(stdout())
}
