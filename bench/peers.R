# Peers in R, timed on request: reads "NAME COUNT" lines, answers the median milliseconds of COUNT calls of NAME.
# Rscript --vanilla peers.R TRIALS.csv    (columns of `simtrial generate`, several trials by trial_id)
Sys.setenv(OMP_NUM_THREADS = "1", OPENBLAS_NUM_THREADS = "1")
suppressPackageStartupMessages({
  library(lme4)
  library(lmerTest)
  library(pbkrtest)
  library(estimatr)
  library(geepack)
  library(clubSandwich)
  library(nlme)
})
all <- read.csv(commandArgs(trailingOnly = TRUE)[1], stringsAsFactors = TRUE)
all$received <- as.integer(all$sessions >= 6)
all <- all[!is.na(all$mansa_followup) & !is.na(all$mansa_baseline), ]
trials <- lapply(split(all, all$trial_id), droplevels)
model <- mansa_followup ~ arm + mansa_baseline + region + practice_size
mixed <- update(model, . ~ . + (1 | practice))
instrumental <- mansa_followup ~ received + mansa_baseline + region + practice_size | arm + mansa_baseline + region + practice_size

# The columns of the scenario `partners`, all trials of a call in one pass of vectorised base R.
truncated_nb <- function(n, mu, k) qnbinom(runif(n, dnbinom(0, size = k, mu = mu), 1), size = k, mu = mu)
score <- function(x) pmin(pmax(round(x * 11) / 11, 1), 7)
generate <- function(count) {
  j <- 39
  shuffled <- function(x) as.vector(apply(matrix(runif(count * j), j), 2, function(u) x[order(u)]))
  region <- shuffled(rep(1:4, c(16, 10, 10, 3)))
  size <- shuffled(rep(1:2, c(15, 24)))
  n <- truncated_nb(count * j, 4.879, 4.235)
  arm <- matrix(0L, j, count)
  excess <- list(matrix(0, 4, count), matrix(0, 2, count))
  at <- seq_len(count)
  levels <- list(matrix(region, j), matrix(size, j))
  for (k in seq_len(j)) {
    gap <- 0
    for (f in 1:2) {
      e <- excess[[f]][cbind(levels[[f]][k, ], at)]
      gap <- gap + abs(e + 1) - abs(e - 1)
    }
    arm[k, ] <- as.integer(runif(count) < ifelse(gap < 0, 0.8, ifelse(gap > 0, 0.2, 0.5)))
    for (f in 1:2) {
      where <- cbind(levels[[f]][k, ], at)
      excess[[f]][where] <- excess[[f]][where] + 2 * arm[k, ] - 1
    }
  }
  who <- rep(seq_len(count * j), n)
  people <- length(who)
  z <- rnorm(count * j)
  availability <- qbeta(pnorm(z), 5, 1.3)
  age <- round(53 + 13 * qnorm(runif(people, pnorm(-35 / 13), 1)), 1)
  sex <- rbinom(people, 1, 0.371)
  diagnosis <- sample.int(3, people, replace = TRUE, prob = c(113, 43, 38))
  provider <- sqrt(0.15) * rnorm(count * j)[who] + sqrt(0.85) * rnorm(people) < qnorm(0.338)
  baseline <- score(4.31 + 0.93 * (sqrt(0.08) * rnorm(count * j)[who] + sqrt(0.92) * rnorm(people)))
  engagement <- rnorm(people)
  u <- pnorm(0.3 * z[who] + sqrt(0.91) * engagement)
  none <- dnbinom(0, size = 3, mu = 10.05)
  offered <- ifelse(u < 0.09, 0, qnbinom(none + (1 - none) * pmax(u - 0.09, 0) / 0.91, size = 3, mu = 10.05))
  goals <- rbinom(people, offered, 0.855)
  treated <- as.vector(arm)[who]
  y0 <- 4.53 + 0.615 * (baseline - 4.31) + 0.701 * (sqrt(0.18) * rnorm(count * j)[who] + sqrt(0.82) * rnorm(people))
  y1 <- score(y0 + 0.045 * (offered >= 6))
  y0 <- score(y0)
  months <- rnorm(people, 10, 1.35)
  stays <- sqrt(0.96) * rnorm(people) - 0.2 * engagement <= qnorm(0.879)
  complete <- runif(people) >= 0.017
  followup <- ifelse(treated == 1, y1, y0)
  list(who, region, size, arm, age, sex, diagnosis, provider, ifelse(runif(people) < 0.01, NA, baseline),
       ifelse(treated == 1, availability[who], NA), offered * treated, goals * treated,
       ifelse(stays & complete, followup, NA), ifelse(stays, months, NA), stays & abs(months - 10) <= 1, y0, y1)
}

peers <- list(
  lmer = function(d) lme4::lmer(mixed, d),
  satterthwaite = function(d) coef(summary(lmerTest::lmer(mixed, d))),
  "kenward-roger" = function(d) coef(summary(lmerTest::lmer(mixed, d), ddf = "Kenward-Roger")),
  estimatr = function(d) {
    lm_robust(model, d, clusters = practice, se_type = "CR2")
    iv_robust(instrumental, d, clusters = practice, se_type = "CR2")
  },
  iv_robust = function(d) iv_robust(instrumental, d, clusters = practice, se_type = "CR2"),
  clubsandwich = function(d) {
    fit <- lm(model, d)
    coef_test(fit, vcov = vcovCR(fit, cluster = d$practice, type = "CR2"), test = "Satterthwaite")
  },
  geepack = function(d) summary(geeglm(model, id = practice, data = d, corstr = "exchangeable")),
  "cluster-means" = function(d) t.test(mansa_followup ~ arm, aggregate(mansa_followup ~ practice + arm, d, mean), var.equal = TRUE),
  "two-variances" = function(d) {
    summary(lme(model, d, random = ~ 1 | practice, weights = varIdent(form = ~ 1 | arm), control = lmeControl(returnObject = TRUE)))
  },
  interaction = function(d) anova(lmerTest::lmer(update(mixed, . ~ . + arm:region), d)),
  generate = function(d) generate(250)
)
turn <- 0
for (name in names(peers)) invisible(suppressMessages(suppressWarnings(peers[[name]](trials[[1]]))))
cat("ready\n")
flush(stdout())
input <- file("stdin", "r")
while (length(line <- readLines(input, n = 1)) > 0) {
  asked <- strsplit(line, " ")[[1]]
  times <- vapply(seq_len(as.integer(asked[2])), function(i) {
    turn <<- turn %% length(trials) + 1
    begun <- proc.time()[["elapsed"]]
    suppressMessages(suppressWarnings(peers[[asked[1]]](trials[[turn]])))
    proc.time()[["elapsed"]] - begun
  }, 0)
  cat(1000 * mean(times), "\n")
  flush(stdout())
}
