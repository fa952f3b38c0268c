# Predictive mean matching with random intercepts: fitted values of donors by lme4 at REML, those of recipients from draws
# of pan, matched by mice. Rscript pmm_mice.R DATA OUT M DONORS
suppressMessages({library(mice); library(pan); library(lme4)})
asked <- commandArgs(TRUE)
data <- read.csv(asked[1], na.strings = "")
data <- data[order(data$practice), ]
m <- as.integer(asked[3]); donors <- as.integer(asked[4]); apart <- 25
x <- cbind(1, data$arm, data$baseline)
practice <- as.integer(factor(data$practice))
seen <- !is.na(data$followup)
fit <- lmer(followup ~ arm + baseline + (1 | practice), data[seen, ])
known <- fitted(fit)
chain <- pan(matrix(data$followup), practice, x, 1:3, 1, list(a = 1, Binv = 1, c = 1, Dinv = 1), seed = 11, iter = m * apart)
set.seed(4)
count <- tabulate(practice[seen], max(practice))
rows <- lapply(seq_len(m) * apart, function(k) {
  beta <- chain$beta[, 1, k]; sigma2 <- chain$sigma[1, 1, k]; tau2 <- chain$psi[1, 1, k]
  total <- numeric(max(practice))
  sums <- rowsum((data$followup - x %*% beta)[seen, , drop = FALSE], practice[seen])
  total[as.integer(rownames(sums))] <- sums
  shrunk <- tau2 / (sigma2 + count * tau2)
  effect <- rnorm(length(total), shrunk * total, sqrt(tau2 * sigma2 / (sigma2 + count * tau2)))
  wanted <- (x %*% beta)[, 1] + effect[practice]
  set <- data
  set$followup[!seen] <- data$followup[seen][matchindex(known, wanted[!seen], donors)]
  own <- coef(summary(lm(followup ~ arm + baseline, set)))
  c(arm = own["arm", 1], variance = own["arm", 2]^2, slope = own["baseline", 1], followup = mean(set$followup[!seen]),
    sd = sd(set$followup[!seen]))
})
write.csv(do.call(rbind, rows), asked[2], row.names = FALSE)
