# Complier effects of mixed models by lme4, on data sets of tests/oracle/data: Rscript --vanilla cace_ratio.R FILE...
# The definition of caceCRTBoot in R's eefAnalytics: Hedges' g (total variance) of the arm's coefficient in the random
# intercept model, over the difference of the arms in the share of people who complied. Not rounded, unlike there.
suppressPackageStartupMessages(library(lme4))
tight <- lmerControl(optimizer = "nloptwrap", optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-14, maxeval = 1e5), calc.derivs = FALSE)
cat("file,model,outcome_effect,tau2,sigma2,receipt_effect,share,g\n")
for (path in commandArgs(trailingOnly = TRUE)) {
  all <- read.csv(path)
  for (model in c("arm", "arm + mansa_baseline")) {
    d <- all[!is.na(all$mansa_followup) & (model == "arm" | !is.na(all$mansa_baseline)), ]
    fit <- function(response) suppressMessages(lmer(as.formula(paste(response, "~", model, "+ (1 | practice)")), d, control = tight))
    y <- fit("mansa_followup")
    tau2 <- as.numeric(VarCorr(y)$practice)
    sigma2 <- sigma(y)^2
    icc <- tau2 / (tau2 + sigma2)
    share <- mean(d$received[d$arm == 1]) - mean(d$received[d$arm == 0])
    sizes <- lapply(0:1, function(a) as.numeric(table(d$practice[d$arm == a])))
    people <- sapply(sizes, sum)
    practices <- lengths(sizes)
    typical <- (people^2 - sapply(sizes, function(n) sum(n^2))) / (people * (practices - 1))
    left <- sum(people) - sum(typical * practices) + sum(typical) - 2
    g <- fixef(y)[["arm"]] / sqrt(tau2 + sigma2) * sqrt(1 - icc * left / (sum(people) - 2))
    numbers <- c(fixef(y)[["arm"]], tau2, sigma2, fixef(fit("received"))[["arm"]], share, g)
    cat(paste(c(sub("_.*", "", basename(path)), if (model == "arm") "none" else "baseline", sprintf("%.10g", numbers)), collapse = ","), "\n", sep = "")
  }
}
